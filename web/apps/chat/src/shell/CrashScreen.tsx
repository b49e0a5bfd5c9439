/** Error boundary of the page, with a reload button. React logs the error. */
import { Component, type ReactNode } from 'react';

import { languageSetting } from '../i18n/language.ts';
import { languages } from '../i18n/languages.ts';
import { Notice } from './Notice.tsx';

interface Props {
  readonly children: ReactNode;
}

interface State {
  readonly crashed: boolean;
}

export class CrashScreen extends Component<Props, State> {
  override state: State = { crashed: false };

  static getDerivedStateFromError(): State {
    return { crashed: true };
  }

  override render(): ReactNode {
    if (!this.state.crashed) return this.props.children;
    const { app } = languages[languageSetting.get()];
    return (
      <main className="screen">
        <Notice icon="alert" role="alert" title={app.crashedTitle} text={app.crashedText}>
          <button type="button" className="button button--primary" onClick={() => window.location.reload()}>
            {app.reload}
          </button>
        </Notice>
      </main>
    );
  }
}
