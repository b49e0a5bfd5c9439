import { cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import type { PresenceSnapshot } from '@roomcast/react';
import { PresenceMenu } from '../../src/conversation/header/PresenceMenu.tsx';

let presence: PresenceSnapshot;

vi.mock(import('@roomcast/react'), async (original) => ({ ...(await original()), usePresence: () => presence }));

afterEach(cleanup);

function show(online: string[], stale = false) {
  presence = { online, stale };
  render(<PresenceMenu chatId="lobby" me="me" />);
  const panel = screen.queryByTestId('presence-panel');
  // Its content is mounted when the browser opens it.
  if (panel !== null) fireEvent(panel, Object.assign(new Event('beforetoggle'), { newState: 'open' }));
  return screen.queryByTestId('presence');
}

test('nothing is shown without online users', () => {
  expect(show([], true)).toBeNull();
});

test('the button shows avatars and a count; its label lists the names, the own user last', () => {
  const button = show(['ann', 'me', 'zoe']);
  expect(button?.textContent).toBe('3 here: ann, zoe, and YouAZM3');
  expect(button?.querySelector('.visually-hidden')?.textContent).toBe('3 here: ann, zoe, and You');
  expect(button?.getAttribute('title')).toBe('3 here: ann, zoe, and You');
});

test('the list shows all users, and marks the own one', () => {
  const online = Array.from({ length: 8 }, (_, index) => `u${index}`);
  const button = show([...online, 'me']);
  expect(button?.querySelector('.visually-hidden')?.textContent).toBe('9 here: u0, u1, u2, u3, u4, and 4 more');
  expect(button?.querySelectorAll('.avatar')).toHaveLength(3);
  const list = screen.getByTestId('presence-panel');
  expect(button?.getAttribute('popovertarget')).toBe(list.id);
  const people = within(list)
    .getAllByRole('listitem', { hidden: true })
    .map((person) => person.querySelector('bdi')?.textContent);
  expect(people).toEqual([...online, 'me']);
  expect(list.textContent).toContain('You');
});

test('a long list is searched by a part of the name', () => {
  show([...Array.from({ length: 9 }, (_, index) => `user ${index}`), 'Zoe']);
  fireEvent.change(screen.getByTestId('people-search'), { target: { value: ' zo' } });
  const people = within(screen.getByTestId('presence-panel')).getAllByRole('listitem', { hidden: true });
  expect(people.map((person) => person.querySelector('bdi')?.textContent)).toEqual(['Zoe']);
});

test('of a very long list the first 200 are shown, with the number of the others', () => {
  show(Array.from({ length: 500 }, (_, index) => `user ${index}`));
  const panel = within(screen.getByTestId('presence-panel'));
  expect(panel.getAllByRole('listitem', { hidden: true })).toHaveLength(200);
  expect(screen.getByText('300 more')).toBeTruthy();
  fireEvent.change(screen.getByTestId('people-search'), { target: { value: '499' } });
  expect(panel.getAllByRole('listitem', { hidden: true })).toHaveLength(1);
  expect(screen.queryByText('300 more')).toBeNull();
});

test('a short list has no search field', () => {
  show(['ann', 'me']);
  expect(screen.queryByTestId('people-search')).toBeNull();
});

test('stale presence is marked', () => {
  const button = show(['ann', 'me'], true);
  expect(button?.dataset['stale']).toBe('true');
  expect(button?.querySelector('.visually-hidden')?.textContent).toBe('2 here: ann and You (as last known)');
});
