"""InjectFusion's mathematics (Jeong et al., WACV 2024): mixing bottlenecks, the asymmetric step, its schedule."""
