"""python-socketio's names, signatures and behaviours over `roomcast.realtime`.

Applications import `roomcast.realtime.compat.socketio`; the modules here implement it. May import: realtime, wire,
redis_client; redis-py.

| module | what |
|---|---|
| ``socketio`` | what an application imports, under the names of python-socketio's modules |
| ``async_server``, ``async_namespace`` | the server; namespaces as classes |
| ``arguments``, ``origins`` | the server's arguments as options; origins that no list expresses |
| ``managers``, ``rooms`` | client managers: rooms and sids, and the bus to other servers |
| ``redis_manager``, ``write_only`` | an emitter for synchronous processes; what managers without a server do |
| ``engineio_view`` | the attribute ``eio`` of a server |
| ``asgi``, ``static_files`` | the ASGI application |
| ``json_module``, ``packet_class`` | the arguments ``json`` and ``serializer`` |
| ``event_log`` | the arguments ``logger`` and ``engineio_logger`` |
| ``exceptions`` | python-socketio's exceptions |
| ``python_client`` | the clients and the packet class of the installed python-socketio |
"""
