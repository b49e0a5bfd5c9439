/** Fails if a package exceeds its size budget: minified and gzipped, without its dependencies. */
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, defaultClientConditions } from 'vite';

/** Bytes. The commit that raises a budget states the reason. */
const BUDGETS = { client: 14_600, react: 1_200 };

for (const [name, budget] of Object.entries(BUDGETS)) {
  const result = await build({
    configFile: false,
    logLevel: 'error',
    resolve: { conditions: ['@roomcast/source', ...defaultClientConditions] },
    build: {
      write: false,
      minify: true,
      lib: { entry: resolve(import.meta.dirname, `../packages/${name}/src/index.ts`), formats: ['es'] },
      rolldownOptions: {
        external: ['socket.io-client', 'react', '@roomcast/client'],
        // Vite itself leaves the white space of a library for the application's bundler.
        output: { minify: true },
      },
    },
  });
  const outputs = (Array.isArray(result) ? result : [result]).flatMap((bundle) =>
    'output' in bundle ? bundle.output : [],
  );
  const size = gzipSync(outputs.map((part) => ('code' in part ? part.code : '')).join('')).length;
  console.log(`@roomcast/${name}: ${size} bytes gzipped of ${budget}`);
  if (size > budget) process.exitCode = 1;
}
