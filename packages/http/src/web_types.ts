/** Argument types of the web's classes, which Node's types do not name. */
export type FieldsInit = NonNullable<ConstructorParameters<typeof Headers>[0]>
/** The type of a `Response`'s body in the caller's compilation: the types of the DOM and those of Node differ. */
export type BodyStream = Response['body']
export type BodyBytes = Response extends { bytes(): infer Bytes } ? Bytes : Promise<Uint8Array>
export type BodyContent = NonNullable<ConstructorParameters<typeof Response>[0]>
