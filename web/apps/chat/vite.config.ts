/** Builds the page into the Python package, which serves it; `npm run dev` puts it before a running `roomcast up --one-port`. */
import react from '@vitejs/plugin-react';
import { defaultClientConditions, defineConfig } from 'vite';

const SERVER = process.env['ROOMCAST_URL'] ?? 'http://localhost:3000';

// As if the page came from there: the server checks host and origin.
const proxied = { target: SERVER, changeOrigin: true, ws: true, headers: { origin: SERVER } };

export default defineConfig({
  plugins: [react()],
  // The workspace's packages are taken from their sources: no build of theirs is needed first.
  resolve: { conditions: ['@roomcast/source', ...defaultClientConditions] },
  // Files of their own, however small: the Content Security Policy has no room for inlined ones.
  build: { outDir: '../../../src/roomcast/api/page', emptyOutDir: true, assetsInlineLimit: 0 },
  server: { proxy: { '/api': proxied, '/socket.io': proxied } },
});
