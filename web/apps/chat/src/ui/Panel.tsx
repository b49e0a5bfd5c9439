/** A button that opens a panel; the content of the panel is mounted while it is open. */
import { type ReactNode, useId, useState } from 'react';

interface Props {
  /** The heading of the panel. */
  readonly title: string;
  /** The name of the button. */
  readonly label?: string;
  /** What the button shows, which is hidden from screen readers: its name follows. */
  readonly face: ReactNode;
  readonly buttonClass?: string;
  readonly panelClass?: string;
  /** Of the button; that of the panel has `-panel` after it. */
  readonly testId: string;
  /** Further attributes of the button, for tests. */
  readonly data?: Readonly<Record<`data-${string}`, unknown>>;
  readonly children: (close: () => void) => ReactNode;
}

export function Panel({ title, label = title, face, buttonClass = 'icon-button', panelClass = '', ...props }: Props) {
  const { testId, data, children } = props;
  const id = useId();
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" className={buttonClass} data-testid={testId} title={label} popoverTarget={id} {...data}>
        {/* Not as aria-label: speech input expects the visible text in it. */}
        <span className="visually-hidden">{label}</span>
        {face}
      </button>
      <div
        id={id}
        popover="auto"
        className={`panel ${panelClass}`}
        data-testid={`${testId}-panel`}
        onBeforeToggle={(event) => event.newState === 'open' && setOpen(true)}
        // Not before: the browser returns the focus from the content to the button. React passes on toggles of the content.
        onToggle={({ newState, target, currentTarget }) => {
          if (newState === 'closed' && target === currentTarget) setOpen(false);
        }}
      >
        <h2 className="panel__title">{title}</h2>
        {open && children(() => document.getElementById(id)?.hidePopover())}
      </div>
    </>
  );
}
