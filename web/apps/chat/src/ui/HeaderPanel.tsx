/** A button with an icon in the header of a chat, which opens a panel below it. */
import { type ReactNode, type RefObject, useId } from 'react';

import { Icon } from './Icon.tsx';

interface Props {
  readonly title: string;
  readonly icon: Parameters<typeof Icon>[0]['name'];
  readonly testId: string;
  /** Further classes of the panel. */
  readonly className: string;
  /** The panel, to close it. */
  readonly panel?: RefObject<HTMLDivElement | null>;
  readonly onToggle: (open: boolean) => void;
  readonly children: ReactNode;
}

export function HeaderPanel({ title, icon, testId, className, panel, onToggle, children }: Props) {
  const id = useId();
  return (
    <>
      <button
        type="button"
        className="icon-button"
        data-testid={testId}
        aria-label={title}
        title={title}
        popoverTarget={id}
      >
        <Icon name={icon} />
      </button>
      <div
        ref={panel}
        id={id}
        popover="auto"
        className={`presence-list ${className}`}
        data-testid={`${testId}-panel`}
        onToggle={(event) => onToggle(event.newState === 'open')}
      >
        <h2 className="presence-list__title">{title}</h2>
        {children}
      </div>
    </>
  );
}
