/** Why a connection is not read: each reason ends by itself. */
export const pauseFor = { body: 1, discarded: 2, unread: 4, upgrade: 8 } as const
