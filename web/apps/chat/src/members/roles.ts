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

export interface Rights {
  /** Deletes messages of others. */
  readonly moderates: boolean;
  readonly renames: boolean;
  readonly archives: boolean;
  readonly deletes: boolean;
  /** Reports messages: others of the chat moderate it. */
  readonly reports: boolean;
}

/** Without memberships, as without authentication, nothing is restricted. */
export function rightsOf(members: readonly contract.Member[], me: string): Rights {
  const own = members.find(({ userId }) => userId === me);
  const role = own?.role ?? 'owner';
  const owner = role === 'owner';
  const moderates = owner || role === 'moderator';
  // The members of a chat without an owner have some of its rights.
  const unowned = role === 'member' && !members.some((member) => member.role === 'owner');
  const reports = own !== undefined && members.some((other) => other !== own && managesMember(other.role, 'member'));
  return { moderates, renames: moderates || unowned, archives: owner || unowned, deletes: owner, reports };
}
