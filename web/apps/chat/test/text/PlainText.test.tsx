import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';

import { PlainText } from '../../src/text/PlainText.tsx';

afterEach(cleanup);

test('markup is shown as text', () => {
  const { container } = render(<PlainText text={'<img src=x onerror=alert(1)>\n<script>1</script>'} />);
  expect(container.querySelector('img, script')).toBeNull();
  expect(container.textContent).toBe('<img src=x onerror=alert(1)>\n<script>1</script>');
});

test('a link opens a new tab without opener and referrer', () => {
  render(<PlainText text="go to https://example.org/x" />);
  const link = screen.getByRole('link', { name: 'https://example.org/x' });
  expect(link.getAttribute('href')).toBe('https://example.org/x');
  expect(link.getAttribute('target')).toBe('_blank');
  expect(link.getAttribute('rel')).toContain('noopener');
  expect(link.getAttribute('rel')).toContain('noreferrer');
});
