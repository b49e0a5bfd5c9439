/** Builds the page into the Python package, which serves it. `npm run dev` proxies to a running `roomcast up --one-port`. */
import react from '@vitejs/plugin-react';
import { defaultClientConditions, defineConfig } from 'vite';
import { compress } from './compress.ts';

const SERVER = process.env['ROOMCAST_URL'] ?? 'http://localhost:3000';

// The server checks the Host and Origin headers.
const proxied = { target: SERVER, changeOrigin: true, ws: true, headers: { origin: SERVER } };

export default defineConfig({
  // The server replaces `./` in index.html by the base path. Scripts and styles refer to each other relatively.
  base: './',
  plugins: [react(), compress()],
  // Resolves the workspace packages to their sources, so that they need no build.
  resolve: { conditions: ['@roomcast/source', ...defaultClientConditions] },
  // No inlined assets, which the Content Security Policy would block.
  build: { outDir: '../../../src/roomcast/api/page', emptyOutDir: true, assetsInlineLimit: 0 },
  server: { proxy: { '/api': proxied, '/socket.io': proxied } },
});
