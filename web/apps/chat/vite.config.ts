/** Builds the page into the Python package, which serves it. */
import react from '@vitejs/plugin-react';
import { defaultClientConditions, defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  // The workspace's packages are taken from their sources: no build of theirs is needed first.
  resolve: { conditions: ['@roomcast/source', ...defaultClientConditions] },
  build: { outDir: '../../../src/roomcast/api/page', emptyOutDir: true },
});
