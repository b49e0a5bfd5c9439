/** The sidebar: chat list, own user and settings. On a narrow screen it is a drawer over the conversation. */
import type { ReactNode } from 'react';

import { useStrings } from '../i18n/language.ts';
import { LanguageSwitch } from '../settings/LanguageSwitch.tsx';
import { ThemeSwitch } from '../settings/ThemeSwitch.tsx';
import { Avatar } from '../ui/Avatar.tsx';
import { Icon } from '../ui/Icon.tsx';
import { Logo } from '../ui/Logo.tsx';

interface Props {
  readonly id: string;
  readonly name: string;
  readonly authEnabled: boolean;
  /** True if the sidebar is off screen; `inert` then removes it from keyboard navigation and screen readers. */
  readonly hidden: boolean;
  readonly onClose: () => void;
  readonly onSignOut: () => void;
  /** Further settings. */
  readonly settings: ReactNode;
  readonly children: ReactNode;
}

export function Sidebar({ id, name, authEnabled, hidden, onClose, onSignOut, settings, children }: Props) {
  const { app, chats, identity } = useStrings();
  const leave = authEnabled ? identity.signOut : identity.change;
  return (
    <aside id={id} className="sidebar" data-testid="sidebar" inert={hidden} aria-label={chats.title}>
      <div className="sidebar__head">
        <Logo />
        <span className="sidebar__name">{app.name}</span>
        <button type="button" className="icon-button sidebar__close" aria-label={chats.close} onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>
      {children}
      <div className="sidebar__foot">
        <div className="me" aria-label={identity.signedInAs(name)} role="group">
          <Avatar name={name} />
          <bdi className="me__name" data-testid="me">
            {name}
          </bdi>
          <button
            type="button"
            className="icon-button"
            data-testid="sign-out"
            aria-label={leave}
            title={leave}
            onClick={onSignOut}
          >
            <Icon name="leave" />
          </button>
        </div>
        <div className="sidebar__settings">
          <LanguageSwitch />
          <ThemeSwitch />
          {settings}
        </div>
      </div>
    </aside>
  );
}
