/** The screen of a user who has to sign in at the identity provider. */
import { useStrings } from '../i18n/language.ts';
import { LanguageSwitch } from '../settings/LanguageSwitch.tsx';
import { ThemeSwitch } from '../settings/ThemeSwitch.tsx';
import { Logo } from '../ui/Logo.tsx';
import { signInUrl } from './session.ts';

export function SignIn() {
  const { identity: words, app } = useStrings();
  const { pathname, search } = window.location;
  return (
    <main className="welcome">
      <div className="welcome__card">
        <Logo />
        <h1 className="welcome__title">{words.tokenTitle}</h1>
        <p className="welcome__tagline">{app.tagline}</p>
        {new URLSearchParams(search).get('sign-in') === 'failed' && (
          <p className="field__error" role="alert">
            {words.signInFailed}
          </p>
        )}
        <a className="button button--primary" href={signInUrl(pathname)} data-testid="sign-in">
          {words.signIn}
        </a>
      </div>
      <div className="welcome__settings">
        <LanguageSwitch />
        <ThemeSwitch />
      </div>
    </main>
  );
}
