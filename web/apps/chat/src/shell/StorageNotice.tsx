/** States once that unsent messages do not survive a reload: with the first message that could not be stored. */
import { useRoomcastClient } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';

export function StorageNotice() {
  const client = useRoomcastClient();
  const { storage: words } = useStrings();
  const [shown, setShown] = useState(false);

  useEffect(() => client.on('storage-failed', () => setShown(true)), [client]);

  return (
    <div className="banner-region" role="status">
      {shown && (
        <p className="banner" data-testid="storage-notice">
          <Icon name="alert" />
          <span>
            {words.failed}{' '}
            <button type="button" className="link" onClick={() => setShown(false)}>
              {words.dismiss}
            </button>
          </span>
        </p>
      )}
    </div>
  );
}
