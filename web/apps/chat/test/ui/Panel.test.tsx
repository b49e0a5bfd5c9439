import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';

import { Panel } from '../../src/ui/Panel.tsx';

afterEach(cleanup);

function toggle(element: HTMLElement, type: string, newState: string): void {
  fireEvent(element, Object.assign(new Event(type), { newState }));
}

test('a section that is closed inside a panel leaves its content', () => {
  render(
    <Panel title="People" face="P" testId="people">
      {() => <details data-testid="section" />}
    </Panel>,
  );
  const panel = screen.getByTestId('people-panel');
  toggle(panel, 'beforetoggle', 'open');
  toggle(screen.getByTestId('section'), 'toggle', 'closed');
  expect(screen.queryByTestId('section')).not.toBeNull();
  toggle(panel, 'toggle', 'closed');
  expect(screen.queryByTestId('section')).toBeNull();
});
