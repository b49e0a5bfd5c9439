/** Light, dark, or as the system has it. The style sheet does the rest by `data-theme` on the root element. */
import { useEffect, useSyncExternalStore } from 'react';

import { createSetting } from '../storage/setting.ts';

export const themes = ['system', 'light', 'dark'] as const;

export type Theme = (typeof themes)[number];

function isTheme(value: unknown): value is Theme {
  return themes.some((theme) => theme === value);
}

// The key is also read by public/theme.js, before the first paint.
export const themeSetting = createSetting<Theme>('theme', isTheme, () => 'system');

export function useTheme(): Theme {
  return useSyncExternalStore(themeSetting.subscribe, themeSetting.get);
}

/** Keeps the root element's `data-theme` in step with the choice. */
export function useDocumentTheme(): void {
  const theme = useTheme();
  useEffect(() => {
    const { dataset } = document.documentElement;
    if (theme === 'system') delete dataset['theme'];
    else dataset['theme'] = theme;
  }, [theme]);
}
