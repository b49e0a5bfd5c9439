/** Real-time chat client for Roomcast. */
export {};
