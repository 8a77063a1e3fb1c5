/** TLS of listeners, for the threads that have some. Not part of the public interface. */
export { SecureListener } from './secure_layer.js'
