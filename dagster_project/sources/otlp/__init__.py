"""OpenTelemetry's own files: JSON and protobuf; what all signals share and each signal."""
