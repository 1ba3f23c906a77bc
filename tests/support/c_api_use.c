/* Uses the C API from C as a firmware does, in a function that a test can call. */
#include <sparsenet/sparsenet.h>
#include <string.h>

int c_api_use(const void* model, size_t model_bytes, void* memory, size_t memory_bytes, const float* input,
              size_t input_elements, float* output, size_t output_elements, char* text, size_t text_bytes);

int c_api_use(const void* model, size_t model_bytes, void* memory, size_t memory_bytes, const float* input,
              size_t input_elements, float* output, size_t output_elements, char* text, size_t text_bytes) {
  sn_message message = {sizeof message, ""};
  sn_session* session = NULL;
  sn_status status = sn_prepare(model, model_bytes, NULL, memory, memory_bytes, &session, &message);
  if (status == SN_OK) status = sn_set_input(session, 0, input, input_elements);
  if (status == SN_OK) status = sn_run(session);
  if (status == SN_OK) status = sn_get_output(session, 0, output, output_elements);
  strncpy(text, message.text, text_bytes - 1);
  text[text_bytes - 1] = '\0';
  return (int)status;
}
