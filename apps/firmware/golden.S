/* What a network has to compute: the first rows of a golden file (GOLDEN_BYTES after the header of GOLDEN_FILE, an .npy
   file of bytes), for the first images of IMAGES_FILE, or for generated inputs if there is no such file. */
  .section .images, "a"
  .global images_begin
  .global images_end
  .global golden_begin
  .global golden_end
images_begin:
#ifdef IMAGES_FILE
  .incbin IMAGES_FILE, 0, IMAGES_BYTES
#endif
images_end:
golden_begin:
  .incbin GOLDEN_FILE, 128, GOLDEN_BYTES
golden_end:
#if defined(__linux__)
  .section .note.GNU-stack, "", %progbits
#endif
