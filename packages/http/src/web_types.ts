/** What the web's classes take; Node's types do not name it. */
export type FieldsInit = NonNullable<ConstructorParameters<typeof Headers>[0]>
export type BodyContent = NonNullable<ConstructorParameters<typeof Response>[0]>
