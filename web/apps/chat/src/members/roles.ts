/** What the page offers to each role; the server checks each request. */
import type { contract } from '@roomcast/react';

export const ROLES = ['owner', 'moderator', 'member', 'reader'] as const;

/** Whether a role may remove, mute and ban a member with another role. */
export function managesMember(role: contract.MemberRole, other: contract.MemberRole): boolean {
  return role === 'owner' || (role === 'moderator' && (other === 'member' || other === 'reader'));
}

/** The end of a mute; null if the member is not muted now. */
export function muteEnd(member: contract.Member, now: number): Date | null {
  const end = member.mutedUntil === null ? null : new Date(member.mutedUntil);
  return end !== null && end.getTime() > now ? end : null;
}
