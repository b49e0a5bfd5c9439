/** The actions of a conversation, for tests of messages. */
import { vi } from 'vitest';

import type { entry } from './entry.ts';

export function chatActions() {
  return {
    retry: vi.fn(),
    discard: vi.fn(),
    resend: vi.fn(),
    stop: vi.fn(),
    regenerate: vi.fn(),
    edit: vi.fn(() => Promise.resolve(true)),
    versions: vi.fn(() => Promise.resolve([] as ReturnType<typeof entry>[])),
    me: 'me',
    react: vi.fn(),
    pin: vi.fn(),
    remove: vi.fn(),
    reply: vi.fn(),
    openThread: vi.fn(),
    show: vi.fn(() => Promise.resolve<number | null>(null)),
    writes: true,
    report: null,
    deletes: (mine: boolean) => mine,
    fileUrl: vi.fn(() => Promise.resolve(null)),
  };
}
