/** All tests of the workspace; each package configures its environment. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { projects: ['packages/*', 'apps/*', 'guide'] },
});
