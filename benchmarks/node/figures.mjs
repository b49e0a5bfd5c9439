// What a load generator measures: the duration of each answer, wrong answers, and its own share of a core.
export class Figures {
  latencies = [];
  wrong = 0;
  #cpu = process.cpuUsage();
  #started = performance.now();

  /** Milliseconds (`performance.now`) at which a load of so many seconds that begins now ends. */
  begin(seconds) {
    this.#cpu = process.cpuUsage();
    this.#started = performance.now();
    return this.#started + seconds * 1000;
  }

  /** Print the figures as one JSON line and end the process, with 1 if an answer was wrong. */
  finish() {
    const took = (performance.now() - this.#started) / 1000;
    const { user, system } = process.cpuUsage(this.#cpu);
    const sorted = this.latencies.sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    const perSecond = Math.round(sorted.length / took);
    const loadShare = (user + system) / 1e6 / took;
    console.log(JSON.stringify({ count: sorted.length, perSecond, p50: at(0.5), p99: at(0.99), wrong: this.wrong, loadShare }));
    process.exit(this.wrong ? 1 : 0);
  }
}
