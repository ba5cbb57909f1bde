#include "graph.h"
static pthread_mutex_t graph = PTHREAD_MUTEX_INITIALIZER;
_Atomic unsigned mp_captures_active;
void mp_graph_lock(void) { pthread_mutex_lock(&graph); }
void mp_graph_unlock(void) { pthread_mutex_unlock(&graph); }
CUresult mp_capture_unsafe(void) { return 0; }
int mp_capture_work(struct CUstream_st *s, struct mp_work *w) { return 0; }
CUresult mp_capture_record(struct CUstream_st *s, struct CUevent_st *e, bool *c) { return 0; }
CUresult mp_capture_wait(struct CUstream_st *s, struct CUevent_st *e, bool *c) { return 0; }
CUresult mp_capture_forbid(struct CUstream_st *s) { return 0; }
CUresult mp_capture_event_forbid(struct CUevent_st *e) { return 0; }
void mp_capture_stream_gone(struct CUstream_st *s) {}
bool mp_stream_capturing(struct CUstream_st *s) { return false; }
void mp_graph_block_free(uint64_t a) {}
struct CUgraph_st *mp_graph_clone(const struct CUgraph_st *g) { return 0; }
void mp_graph_free(struct CUgraph_st *g) {}
struct mp_graph_block *mp_graph_block_find(uint64_t addr) { return 0; }
void mp_graph_block_ref(struct mp_graph_block *b) {}
void mp_graph_block_unref(struct mp_graph_block *b) {}
void mp_graph_block_alloc_run(struct mp_graph_block *b) {}
void mp_graph_block_free_run(struct mp_graph_block *b) {}
CUresult mp_graph_capture_alloc(struct CUstream_st *s, struct mp_device *d, size_t size, CUdeviceptr *ret) { return 801; }
CUresult mp_join_texts(char **texts, size_t *lens, size_t n, char **ret_ptx, size_t *ret_len) { return 209; }
