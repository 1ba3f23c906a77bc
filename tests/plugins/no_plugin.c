/* A library that is no plugin: it exports another function. */
__attribute__((visibility("default"))) int something_else(void);
__attribute__((visibility("default"))) int something_else(void) {
  return 0;
}
