module example.org/real-registry

go 1.21
