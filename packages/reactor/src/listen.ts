/** How listening sockets come to be, for the thread that opens them. Not part of the public interface. */
export { AcceptFailures } from './accept_failures.js'
export { addressOptionNames, type OpenListener, openControl, openListener } from './address.js'
export { kindOfFailure, ReportLimit } from './report_limit.js'
export { InheritedSockets } from './inherited.js'
export { noTls, readTls } from './tls_options.js'
