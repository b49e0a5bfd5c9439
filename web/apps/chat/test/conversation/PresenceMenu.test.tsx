import { cleanup, render, screen, within } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import type { PresenceSnapshot } from '@roomcast/react';
import { Here } from '../../src/conversation/Here.tsx';

let presence: PresenceSnapshot;

vi.mock(import('@roomcast/react'), async (original) => ({ ...(await original()), usePresence: () => presence }));

afterEach(cleanup);

function show(online: string[], stale = false) {
  presence = { online, stale };
  render(<Here chatId="lobby" me="me" />);
  return screen.queryByTestId('presence');
}

test('while nobody is known to be here there is nothing', () => {
  expect(show([], true)).toBeNull();
});

test('faces and a number show, a label names who it is: the others first', () => {
  const button = show(['ann', 'me', 'zoe']);
  expect(button?.textContent).toBe('AZM3');
  expect(button?.getAttribute('aria-label')).toBe('3 here: ann, zoe, and You');
  expect(button?.getAttribute('title')).toBe('3 here: ann, zoe, and You');
});

test('the list has everybody, and says which one is oneself', () => {
  const online = Array.from({ length: 8 }, (_, index) => `u${index}`);
  const button = show([...online, 'me']);
  expect(button?.getAttribute('aria-label')).toBe('9 here: u0, u1, u2, u3, u4, and 4 more');
  expect(button?.querySelectorAll('.avatar')).toHaveLength(3);
  const list = screen.getByTestId('presence-list');
  expect(button?.getAttribute('popovertarget')).toBe(list.id);
  const people = within(list)
    .getAllByRole('listitem', { hidden: true })
    .map((person) => person.querySelector('bdi')?.textContent);
  expect(people).toEqual([...online, 'me']);
  expect(list.textContent).toContain('You');
});

test('what is only as last known says so', () => {
  const button = show(['ann', 'me'], true);
  expect(button?.dataset['stale']).toBe('true');
  expect(button?.getAttribute('aria-label')).toBe('2 here: ann and You (as last known)');
});
