/** The first thing that a visitor sees: a name to choose, or a token to give where the server asks for one. */
import { type SubmitEvent, useId, useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import type { Dictionary } from '../i18n/en.ts';
import { LanguageSwitch } from '../settings/LanguageSwitch.tsx';
import { ThemeSwitch } from '../settings/ThemeSwitch.tsx';
import { Logo } from '../ui/Logo.tsx';
import { faultOf, identity, MAX_NAME, suggestedName } from './identity.ts';
import { readToken } from './token.ts';

/** Takes what was typed. Returns what is wrong with it, or null once the visitor is in. */
type Enter = (text: string, words: Dictionary['identity']) => string | null;

const enterByName: Enter = (text, words) => {
  const name = text.trim().normalize('NFC');
  const fault = faultOf(name);
  if (fault === 'required') return words.nameRequired;
  if (fault === 'too-long') return words.nameTooLong(MAX_NAME);
  if (fault === 'invalid') return words.nameInvalid;
  identity.setName(name);
  return null;
};

const enterByToken: Enter = (text, words) => {
  const token = text.trim();
  const claims = readToken(token);
  if (claims === null) return words.tokenInvalid;
  if (claims.expiresAt !== null && claims.expiresAt <= Date.now()) return words.tokenExpired;
  identity.setToken(token);
  return null;
};

export function IdentityForm({ byToken }: { readonly byToken: boolean }) {
  const { identity: words, app } = useStrings();
  const [text, setText] = useState(() => (byToken ? '' : suggestedName()));
  const [fault, setFault] = useState<string | null>(null);
  const ids = { field: useId(), hint: useId(), fault: useId() };

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    setFault((byToken ? enterByToken : enterByName)(text, words));
  }

  return (
    <main className="welcome">
      <form className="welcome__card" onSubmit={onSubmit} noValidate>
        <Logo />
        <h1 className="welcome__title">{byToken ? words.tokenTitle : words.title}</h1>
        <p className="welcome__tagline">{app.tagline}</p>
        <label className="field" htmlFor={ids.field}>
          <span className="field__label">{byToken ? words.token : words.name}</span>
          <input
            id={ids.field}
            className="field__input"
            data-testid="name-input"
            type={byToken ? 'password' : 'text'}
            autoComplete={byToken ? 'off' : 'nickname'}
            spellCheck={false}
            autoFocus
            value={text}
            placeholder={byToken ? undefined : words.namePlaceholder}
            aria-invalid={fault !== null}
            aria-describedby={fault === null ? ids.hint : ids.fault}
            onFocus={(event) => event.target.select()}
            onChange={(event) => {
              setText(event.target.value);
              setFault(null);
            }}
          />
        </label>
        {fault === null ? (
          <p id={ids.hint} className="field__hint">
            {byToken ? words.tokenHint : words.hint}
          </p>
        ) : (
          <p id={ids.fault} className="field__fault" role="alert">
            {fault}
          </p>
        )}
        <button type="submit" className="button button--primary" data-testid="name-submit">
          {byToken ? words.signIn : words.enter}
        </button>
      </form>
      <div className="welcome__settings">
        <LanguageSwitch />
        <ThemeSwitch />
      </div>
    </main>
  );
}
