/**
 * By how much the bounds of time in storms are stretched. 1 by hand, on a machine of one's own; the long checks set STORM_SLACK,
 * since others may use theirs at the same time.
 */
export const slack: number = Number(process.env['STORM_SLACK'] ?? 4)
