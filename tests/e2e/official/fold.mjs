// Reads lists of chunks as JSON from the standard input, and writes the parts that the AI SDK's client makes of each.
import { readFileSync } from "node:fs";
import { readUIMessageStream, validateUIMessages } from "ai";

async function fold(chunks) {
  const stream = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  const errors = [];
  let message = { parts: [] };
  for await (const next of readUIMessageStream({ stream, onError: (error) => errors.push(error) })) message = next;
  if (errors.length > 0) throw errors[0];
  if (message.parts.length > 0) await validateUIMessages({ messages: [{ ...message, role: "assistant" }] });
  return message.parts;
}

const lists = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await Promise.all(lists.map(fold))));
