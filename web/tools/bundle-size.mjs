/** Fails if a package exceeds its size budget: minified and gzipped, without its dependencies. */
import { basename, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, defaultClientConditions } from 'vite';

/** Bytes. The commit that raises a budget states the reason. */
const BUDGETS = { client: 20_000, react: 2_500 };
/** Number of modules that a failure lists. */
const LISTED = 8;

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
  if (size <= budget) continue;
  process.exitCode = 1;
  console.error(`${size - budget} bytes too many. Make it smaller, or raise BUDGETS in web/tools/bundle-size.mjs.`);
  const modules = outputs.flatMap((part) => ('modules' in part ? Object.entries(part.modules) : []));
  modules.sort(([, left], [, right]) => right.renderedLength - left.renderedLength);
  for (const [id, { renderedLength }] of modules.slice(0, LISTED))
    console.error(`  ${renderedLength} bytes before compression: ${basename(id)}`);
}
