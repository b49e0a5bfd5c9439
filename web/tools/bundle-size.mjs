/** Fails if a package or the page exceeds its size budget: minified and gzipped, packages without their dependencies. */
import { basename, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, defaultClientConditions } from 'vite';

/** Bytes. The commit that raises a budget states the reason. */
const BUDGETS = { 'packages/client': 20_000, 'packages/react': 2_500, 'apps/chat': 210_000 };
/** Number of modules that a failure lists. */
const LISTED = 8;

for (const [name, budget] of Object.entries(BUDGETS)) {
  const root = resolve(import.meta.dirname, '..', name);
  const result = await build({
    root,
    configFile: false,
    logLevel: 'error',
    resolve: { conditions: ['@roomcast/source', ...defaultClientConditions] },
    build: {
      write: false,
      minify: true,
      ...(name.startsWith('packages') && {
        lib: { entry: resolve(root, 'src/index.ts'), formats: ['es'] },
        rolldownOptions: {
          external: ['socket.io-client', 'react', '@roomcast/client'],
          // Vite itself leaves the white space of a library for the application's bundler.
          output: { minify: true },
        },
      }),
    },
  });
  const outputs = (Array.isArray(result) ? result : [result]).flatMap((bundle) =>
    'output' in bundle ? bundle.output : [],
  );
  const loaded = outputs.filter(({ fileName }) => /\.(css|m?js)$/.test(fileName));
  const size = gzipSync(loaded.map((part) => ('code' in part ? part.code : part.source)).join('')).length;
  console.log(`web/${name}: ${size} of ${budget} bytes gzipped, ${budget - size} left`);
  if (size <= budget) continue;
  process.exitCode = 1;
  console.error(`web/${name} is too large. Make it smaller, or raise BUDGETS in web/tools/bundle-size.mjs.`);
  const modules = outputs.flatMap((part) => ('modules' in part ? Object.entries(part.modules) : []));
  modules.sort(([, left], [, right]) => right.renderedLength - left.renderedLength);
  for (const [id, { renderedLength }] of modules.slice(0, LISTED))
    console.error(`  ${renderedLength} bytes before compression: ${basename(id)}`);
}
