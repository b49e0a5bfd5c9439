/** All tests of the workspace; each package brings its own environment. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { projects: ['packages/*', 'apps/*', 'guide'] },
});
