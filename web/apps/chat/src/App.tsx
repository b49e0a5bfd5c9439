/** Chooses the screen: loading, sign-in, or the chats. */
import { RoomcastProvider } from '@roomcast/react';

import { client, loadConfig } from './client.ts';
import { useDocumentLanguage, useStrings } from './i18n/language.ts';
import { useIdentity } from './identity/identity.ts';
import { IdentityForm } from './identity/IdentityForm.tsx';
import { SignIn } from './identity/SignIn.tsx';
import { useDocumentTheme } from './settings/theme.ts';
import { Notice } from './shell/Notice.tsx';
import { Shell } from './shell/Shell.tsx';
import { useConfig } from './useConfig.ts';

export function App() {
  useDocumentLanguage();
  useDocumentTheme();
  const { app } = useStrings();
  const me = useIdentity();
  const { config, failed } = useConfig(loadConfig);

  if (config === null) {
    return (
      <main className="screen">
        {failed ? (
          <Notice icon="alert" role="status" title={app.unreachableTitle} text={app.unreachableText} />
        ) : (
          <span className="visually-hidden" role="status">
            {app.loading}
          </span>
        )}
      </main>
    );
  }
  // A name chosen while the server required no token does not authenticate.
  if (me === null || (config.auth && me.token === null)) {
    return config.signIn ? <SignIn /> : <IdentityForm authEnabled={config.auth} />;
  }
  return (
    // The key remounts the page for another user, which discards all state of the previous one.
    <RoomcastProvider key={me.userId} client={client} userId={me.userId}>
      <Shell
        userId={me.userId}
        authEnabled={config.auth}
        signIn={config.signIn}
        pushKey={config.pushKey ?? null}
        acceptsFiles={Boolean(config.files)}
      />
    </RoomcastProvider>
  );
}
