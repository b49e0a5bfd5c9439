/** The sign-in form: a name, or an access token if the server requires one. */
import { type SubmitEvent, useId, useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import type { Dictionary } from '../i18n/en.ts';
import { rules } from '../generated/rules.ts';
import { LanguageSwitch } from '../settings/LanguageSwitch.tsx';
import { ThemeSwitch } from '../settings/ThemeSwitch.tsx';
import { Logo } from '../ui/Logo.tsx';
import { identity, suggestedName, validateName } from './identity.ts';
import { forget } from './signOut.ts';
import { readSubject } from './token.ts';

/** Signs in with the text of the field. Returns an error message, or null after success. */
type SignIn = (text: string, words: Dictionary['identity']) => string | null;

/** Removes everything of the user whose token was rejected, if another user signs in. False if the sign-in shall not go on. */
function mayReplaceUser(userId: string, words: Dictionary['identity']): boolean {
  const previous = identity.get()?.userId ?? userId;
  return previous === userId || forget(previous, words);
}

const signInByName: SignIn = (text, words) => {
  const name = text.trim().normalize('NFC');
  const error = validateName(name);
  if (error === 'required') return words.nameRequired;
  if (error === 'too-long') return words.nameTooLong(rules.userId.maxLength);
  if (error === 'invalid') return words.nameInvalid;
  if (mayReplaceUser(name, words)) identity.setName(name);
  return null;
};

const signInByToken: SignIn = (text, words) => {
  const token = text.trim();
  // The clock of this device may be wrong, so an expired token is left to the server.
  const userId = readSubject(token);
  if (userId === null) return words.tokenInvalid;
  if (mayReplaceUser(userId, words)) identity.setToken(token);
  return null;
};

export function IdentityForm({ authEnabled }: { readonly authEnabled: boolean }) {
  const { identity: words, app } = useStrings();
  const [text, setText] = useState(() => (authEnabled ? '' : suggestedName()));
  const [error, setError] = useState<string | null>(null);
  const ids = { field: useId(), hint: useId(), error: useId() };

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    setError((authEnabled ? signInByToken : signInByName)(text, words));
  }

  return (
    <main className="welcome">
      <form className="welcome__card" onSubmit={onSubmit} noValidate>
        <Logo />
        <h1 className="welcome__title">{authEnabled ? words.tokenTitle : words.title}</h1>
        <p className="welcome__tagline">{app.tagline}</p>
        <label className="field" htmlFor={ids.field}>
          <span className="field__label">{authEnabled ? words.token : words.name}</span>
          <input
            id={ids.field}
            className="field__input"
            data-testid="name-input"
            type={authEnabled ? 'password' : 'text'}
            autoComplete={authEnabled ? 'off' : 'nickname'}
            spellCheck={false}
            autoFocus
            value={text}
            placeholder={authEnabled ? undefined : words.namePlaceholder}
            aria-invalid={error !== null}
            aria-describedby={error === null ? ids.hint : ids.error}
            onFocus={(event) => event.target.select()}
            onChange={(event) => {
              setText(event.target.value);
              setError(null);
            }}
          />
        </label>
        {error === null ? (
          <p id={ids.hint} className="field__hint">
            {authEnabled ? words.tokenHint : words.hint}
          </p>
        ) : (
          <p id={ids.error} className="field__error" role="alert">
            {error}
          </p>
        )}
        <button type="submit" className="button button--primary" data-testid="name-submit">
          {authEnabled ? words.signIn : words.enter}
        </button>
      </form>
      <div className="welcome__settings">
        <LanguageSwitch />
        <ThemeSwitch />
      </div>
    </main>
  );
}
