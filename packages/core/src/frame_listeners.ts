import type { FrameListener } from '@multireactor/pool/parts'
import type { ListenerPlan } from './reactor_thread.js'

/** What frames say of the listener they came by, by its number. */
export const frameListeners = (plans: readonly ListenerPlan[]): FrameListener[] =>
  plans.map(({ name, tls }) => ({ name, encrypted: tls !== undefined }))
