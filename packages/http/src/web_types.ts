/** What the web's classes take; Node's types do not name it. */
export type FieldsInit = NonNullable<ConstructorParameters<typeof Headers>[0]>
/** What the body of a `Response` is where the caller compiles: the types of the DOM and those of Node differ. */
export type BodyStream = Response['body']
export type BodyBytes = Response extends { bytes(): infer Bytes } ? Bytes : Promise<Uint8Array>
export type BodyContent = NonNullable<ConstructorParameters<typeof Response>[0]>
