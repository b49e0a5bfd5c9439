import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    alias: [
      { find: /^socket\.io-client$/, replacement: resolve(import.meta.dirname, "transport.ts") },
      {
        find: /^official-socket\.io-client$/,
        replacement: resolve(import.meta.dirname, "../node_modules/socket.io-client/build/esm/index.js"),
      },
    ],
  },
  test: { name: "guide", include: ["guide.test.ts"], environment: "node", testTimeout: 20_000 },
});
