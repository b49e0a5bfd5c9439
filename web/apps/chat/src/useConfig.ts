/** The configuration of the server, requested until it responds. */
import type { contract } from '@roomcast/react';
import { useEffect, useState } from 'react';

const RETRY_MS = 2_000;

export interface ConfigState {
  readonly config: contract.Config | null;
  /** The last attempt failed; another one is scheduled. */
  readonly failed: boolean;
}

/** @param load - Must be stable between renders. */
export function useConfig(load: () => Promise<contract.Config>): ConfigState {
  const [state, setState] = useState<ConfigState>({ config: null, failed: false });

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let unmounted = false;
    const attempt = (): void => {
      load().then(
        (config) => {
          if (!unmounted) setState({ config, failed: false });
        },
        () => {
          if (unmounted) return;
          setState({ config: null, failed: true });
          timer = setTimeout(attempt, RETRY_MS);
        },
      );
    };
    attempt();
    return () => {
      unmounted = true;
      clearTimeout(timer);
    };
  }, [load]);

  return state;
}
