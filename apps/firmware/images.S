/* Test images: records of a label byte and 3 x 32 x 32 bytes, red, green, blue (the official CIFAR-10 binary format). */
  .section .images, "a"
  .global images_begin
  .global images_end
images_begin:
  .incbin "images.bin"
images_end:
#if defined(__linux__)
  .section .note.GNU-stack, "", %progbits
#endif
