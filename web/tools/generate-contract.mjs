/**
 * Generates from the Python models of the contract:
 * packages/client/src/generated/contract.ts, the types; apps/chat/src/generated/rules.ts, the rules for texts of users.
 *
 * `--check` writes nothing and fails if a file is outdated. PYTHON sets the interpreter; default: the checkout's .venv.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { compile } from 'json-schema-to-typescript';

const ROOT = resolve(import.meta.dirname, '../..');
const TYPES = resolve(import.meta.dirname, '../packages/client/src/generated/contract.ts');
const RULES = resolve(import.meta.dirname, '../apps/chat/src/generated/rules.ts');
const BANNER = '// Generated from src/roomcast/contract by `npm run generate`. Do not edit.';
const PYTHON = process.env['PYTHON'] ?? resolve(ROOT, '.venv/bin/python');

const schema = JSON.parse(execFileSync(PYTHON, ['-m', 'roomcast.contract.schema'], { cwd: ROOT, encoding: 'utf8' }));

/**
 * Removes titles, which would make each property a named type.
 *
 * @param {unknown} node - A part of the schema.
 * @returns {unknown} The same part without titles.
 */
function withoutTitles(node) {
  if (Array.isArray(node)) return node.map(withoutTitles);
  if (node === null || typeof node !== 'object') return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(([key, value]) => !(key === 'title' && typeof value === 'string'))
      .map(([key, value]) => [key, withoutTitles(value)]),
  );
}

/**
 * @param {string} pattern - A regular expression.
 * @returns {string} The same with escapes for the characters above U+FFFF, some of which are invisible.
 */
function escaped(pattern) {
  return pattern.replace(/[\u{10000}-\u{10ffff}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

// The root refers to every definition, so that each becomes an export.
const definitions = /** @type {Record<string, unknown>} */ (withoutTitles(schema.$defs));
const root = {
  title: 'Contract',
  type: 'object',
  additionalProperties: false,
  required: Object.keys(definitions),
  properties: Object.fromEntries(Object.keys(definitions).map((name) => [name, { $ref: `#/$defs/${name}` }])),
  $defs: definitions,
};
const types = await compile(/** @type {any} */ (root), 'Contract', {
  additionalProperties: false,
  bannerComment: BANNER,
  style: { singleQuote: true, printWidth: 120 },
});

const { CreateChat, EditMessage, SendMessage } = schema.$defs;
const texts = {
  content: EditMessage.properties.content,
  title: CreateChat.properties.title.anyOf[0],
  userId: SendMessage.properties.userId.anyOf[0],
};
const rules = [
  `${BANNER}\n\n/** Maximum length in code points, and pattern of a valid text. */\nexport const rules = {\n`,
  ...Object.entries(texts).map(
    ([name, { maxLength, pattern }]) =>
      `  ${name}: {\n    maxLength: ${maxLength},\n    pattern: /${escaped(pattern)}/u,\n  },\n`,
  ),
  '};\n',
].join('');

/**
 * @param {string} target - Path of a generated file.
 * @param {string} source - Its content.
 */
function put(target, source) {
  if (!process.argv.includes('--check')) {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, source);
  } else if (readFileSync(target, 'utf8') !== source) {
    console.error(`${target} is outdated: the Python models changed. Run \`npm run generate\` in web/ and commit it.`);
    process.exitCode = 1;
  }
}

put(TYPES, types);
put(RULES, rules);
