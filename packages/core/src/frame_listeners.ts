import type { FrameListener } from '@multireactor/pool/parts'
import type { ListenerPlan } from './reactor_thread.js'

/** The listener of a frame, by its number. */
export const frameListeners = (plans: readonly ListenerPlan[]): FrameListener[] =>
  plans.map(({ name, tls }) => ({ name, encrypted: tls !== undefined }))
