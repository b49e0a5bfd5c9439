// What a load generator measures: durations, wrong answers, the CPU time of the servers and its own share of a core.
import { readFileSync } from 'node:fs';

/** Length of one tick of the processor times in /proc. */
const TICK_US = 10_000;

/** Processor time of a process so far, in microseconds. */
function cpuUs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').pop().split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

/** Processes that a process has started, as PostgreSQL for each connection. */
function children(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
}

export class Figures {
  /** Milliseconds of each operation that is timed alone. */
  latencies = [];
  wrong = 0;
  /** What was wrong first. */
  firstWrong = '';
  #pids;
  #others;
  #began;

  /**
   * @param pids processes of the server
   * @param others processes that share the generator's core, as Redis does
   */
  constructor(pids = [], others = []) {
    this.#pids = pids;
    this.#others = others.flatMap((pid) => [pid, ...children(pid)]);
    this.begin();
  }

  /** Start to measure. */
  begin() {
    this.#began = { cpu: process.cpuUsage(), at: performance.now(), server: this.#pids.map(cpuUs), others: this.#others.map(cpuUs) };
    return this.#began.at;
  }

  /** Count a wrong answer. */
  fault(text) {
    this.wrong += 1;
    this.firstWrong ||= text;
  }

  /** Stop to measure; `count` operations were done. */
  end(count = this.latencies.length) {
    const took = performance.now() - this.#began.at;
    const { user, system } = process.cpuUsage(this.#began.cpu);
    const server = this.#pids.map((pid, index) => cpuUs(pid) - this.#began.server[index]);
    const others = this.#others.reduce((sum, pid, index) => sum + cpuUs(pid) - this.#began.others[index], 0);
    return {
      count,
      seconds: took / 1000,
      perSecond: (count / took) * 1000,
      ...this.percentiles(),
      cpuUs: server.reduce((sum, used) => sum + used, 0) / count,
      serverShares: server.map((used) => used / 1000 / took),
      loadShare: (user + system) / 1000 / took,
      othersShare: others / 1000 / took,
    };
  }

  /** The middle and the 99th percentile of the latencies, in milliseconds. */
  percentiles() {
    const sorted = this.latencies.sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
    return { p50: at(0.5), p99: at(0.99) };
  }

  /** Print the figures as one line of JSON and end the process, with 1 if an answer was wrong. */
  print(found) {
    console.log(JSON.stringify({ ...found, wrong: this.wrong, firstWrong: this.firstWrong }));
    process.exit(this.wrong ? 1 : 0);
  }
}
