/** The theme: light, dark or the system's. The style sheet reads `data-theme` of the root element. */
import { useEffect, useSyncExternalStore } from 'react';

import { createSetting } from '../storage/setting.ts';

export const themes = ['system', 'light', 'dark'] as const;

export type Theme = (typeof themes)[number];

function isTheme(value: unknown): value is Theme {
  return themes.some((theme) => theme === value);
}

// public/theme.js reads the same key before the first paint.
export const themeSetting = createSetting<Theme>('theme', isTheme, () => 'system');

export function useTheme(): Theme {
  return useSyncExternalStore(themeSetting.subscribe, themeSetting.get);
}

/** Sets `data-theme` of the root element. */
export function useDocumentTheme(): void {
  const theme = useTheme();
  useEffect(() => {
    const { dataset } = document.documentElement;
    if (theme === 'system') delete dataset['theme'];
    else dataset['theme'] = theme;
  }, [theme]);
}
