/** A message in place of content, for example if the chat is empty, failed to load or does not exist. */
import type { ReactNode } from 'react';

import { Icon, type IconName } from '../ui/Icon.tsx';

interface Props {
  readonly icon: IconName;
  readonly title: string;
  readonly text?: string;
  /** Live region role: `alert` interrupts a screen reader, `status` does not. */
  readonly role?: 'alert' | 'status';
  /** Buttons or links below the text. */
  readonly children?: ReactNode;
}

export function Notice({ icon, title, text, role, children }: Props) {
  return (
    <div className="notice" role={role}>
      <span className="notice__icon">
        <Icon name={icon} />
      </span>
      <p className="notice__title">{title}</p>
      {text !== undefined && <p className="notice__text">{text}</p>}
      {children}
    </div>
  );
}
