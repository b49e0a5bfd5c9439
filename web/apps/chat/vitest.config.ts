import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['@roomcast/source', 'module', 'browser', 'development'] },
  test: { name: 'chat', environment: 'jsdom', include: ['test/**/*.test.{ts,tsx}'], passWithNoTests: true },
});
